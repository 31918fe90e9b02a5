# SPDX-License-Identifier: Apache-2.0
# The download half of kpack against a server that does not behave.
add_executable(fetch_probe fetch_probe.c)
target_link_libraries(fetch_probe PRIVATE kp_pack)
add_executable(hostile_server hostile_server.c)
target_link_libraries(hostile_server PRIVATE kp_core dep_ssl)
add_test(NAME interop/hostile_upstream
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/hostile_upstream.sh $<TARGET_FILE:fetch_probe>
                 $<TARGET_FILE:hostile_server>)
set_tests_properties(interop/hostile_upstream PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
