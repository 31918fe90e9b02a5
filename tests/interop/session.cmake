# SPDX-License-Identifier: Apache-2.0
add_executable(make_node_bundle make_node_bundle.c)
target_link_libraries(make_node_bundle PRIVATE kp_bundle)
add_executable(session_driver session_driver.c)
target_link_libraries(session_driver PRIVATE kp_session)
add_executable(steps_driver steps_driver.c)
target_link_libraries(steps_driver PRIVATE kp_install)
add_test(NAME interop/session
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/session.sh $<TARGET_FILE:session_driver>
                 $<TARGET_FILE:make_node_bundle> $<TARGET_FILE:knode>
                 $<TARGET_FILE:kregistry> $<TARGET_FILE:failing_fs>
                 $<TARGET_FILE:steps_driver>)
set_tests_properties(interop/session PROPERTIES LABELS interop TIMEOUT 600 SKIP_RETURN_CODE 77
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
add_test(NAME interop/hostile_node
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/hostile_node.sh $<TARGET_FILE:session_driver>
                 $<TARGET_FILE:make_node_bundle> $<TARGET_FILE:knode>)
set_tests_properties(interop/hostile_node PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
add_test(NAME interop/approve
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/approve.sh $<TARGET_FILE:knode>)
set_tests_properties(interop/approve PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
