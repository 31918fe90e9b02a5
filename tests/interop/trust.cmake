# SPDX-License-Identifier: Apache-2.0
add_test(NAME interop/key_walkthrough
         COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/key_walkthrough.sh $<TARGET_FILE:kpack>
                 $<TARGET_FILE:kinstall> $<TARGET_FILE:bundle_make>)
set_tests_properties(interop/key_walkthrough PROPERTIES LABELS interop TIMEOUT 600
                     FAIL_REGULAR_EXPRESSION "Sanitizer:|runtime error:")
add_test(NAME interop/one_document
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/one_document.sh $<TARGET_FILE:kpack>
            $<TARGET_FILE:kinstall> $<TARGET_FILE:bundle_make>)
set_tests_properties(interop/one_document PROPERTIES LABELS interop TIMEOUT 600)
kp_fail_on_sanitizer(interop/one_document)
