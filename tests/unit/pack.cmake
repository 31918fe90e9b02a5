# SPDX-License-Identifier: Apache-2.0
kp_unit(scan kp_pack)
add_library(package_fixture STATIC package_fixture.c)
target_link_libraries(package_fixture PUBLIC kp_core)
target_include_directories(package_fixture PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
kp_unit(resolve kp_pack package_fixture)
kp_unit(packages kp_pack package_fixture)
kp_unit(lock kp_pack)
kp_unit(layers kp_pack)
