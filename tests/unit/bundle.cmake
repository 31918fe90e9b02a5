# SPDX-License-Identifier: Apache-2.0
add_library(bundle_fixture STATIC bundle_fixture.c)
target_link_libraries(bundle_fixture PUBLIC kp_bundle)
target_include_directories(bundle_fixture PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
foreach(name layout manifest trust sign write read damage set policy)
    kp_unit(bundle_${name} bundle_fixture)
endforeach()

add_executable(bundle_make bundle_make.c)
target_link_libraries(bundle_make PRIVATE bundle_fixture)
add_test(NAME interop/auditor
    COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/auditor_test.sh $<TARGET_FILE:bundle_make>)
add_test(NAME interop/disk_full
    COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/disk_full.sh $<TARGET_FILE:bundle_make>)
set_tests_properties(interop/auditor interop/disk_full PROPERTIES LABELS interop TIMEOUT 600)
set_tests_properties(interop/disk_full PROPERTIES SKIP_RETURN_CODE 77)
kp_fail_on_sanitizer(interop/auditor)
kp_fail_on_sanitizer(interop/disk_full)
add_test(NAME interop/slices
    COMMAND ${CMAKE_SOURCE_DIR}/tests/interop/slices.sh $<TARGET_FILE:bundle_make> $<TARGET_FILE:kpack>)
set_tests_properties(interop/slices PROPERTIES LABELS interop TIMEOUT 600)
kp_fail_on_sanitizer(interop/slices)
