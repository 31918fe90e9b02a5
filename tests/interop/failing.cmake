# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3)
add_executable(failing_fs failing_fs.c)
target_link_libraries(failing_fs PRIVATE PkgConfig::fuse3)
add_test(NAME interop/failing_medium
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/failing_medium.sh $<TARGET_FILE:failing_fs>
            $<TARGET_FILE:bundle_make> $<TARGET_FILE:kpack> $<TARGET_FILE:kinstall>
            $<TARGET_FILE:kregistry>)
set_tests_properties(interop/failing_medium PROPERTIES LABELS interop TIMEOUT 600
                     SKIP_RETURN_CODE 77)
kp_fail_on_sanitizer(interop/failing_medium)
