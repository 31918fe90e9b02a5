# SPDX-License-Identifier: Apache-2.0
add_test(NAME interop/key_walkthrough
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/key_walkthrough.sh $<TARGET_FILE:kpack>
                 $<TARGET_FILE:kinstall>)
set_tests_properties(interop/key_walkthrough PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
