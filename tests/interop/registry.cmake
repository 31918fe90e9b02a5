# SPDX-License-Identifier: Apache-2.0
add_executable(make_bundle make_bundle.c)
target_link_libraries(make_bundle PRIVATE kp_bundle)
add_executable(crowd crowd.c)
target_link_libraries(crowd PRIVATE kp_net)
add_test(NAME interop/registry
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/registry.sh $<TARGET_FILE:kregistry>
                 $<TARGET_FILE:make_bundle> $<TARGET_FILE:crowd>)
set_tests_properties(interop/registry PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
add_test(NAME interop/medium
    COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/medium.sh $<TARGET_FILE:bundle_make> $<TARGET_FILE:kregistry>)
set_tests_properties(interop/medium PROPERTIES LABELS interop TIMEOUT 600)
kp_fail_on_sanitizer(interop/medium)
