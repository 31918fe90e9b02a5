# SPDX-License-Identifier: Apache-2.0
add_test(NAME interop/delta
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/delta.sh $<TARGET_FILE:kpack> $<TARGET_FILE:kregistry>)
set_tests_properties(interop/delta PROPERTIES LABELS interop TIMEOUT 600 SKIP_RETURN_CODE 77)
kp_fail_on_sanitizer(interop/delta)
