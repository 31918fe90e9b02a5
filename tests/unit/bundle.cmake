# SPDX-License-Identifier: Apache-2.0
add_library(bundle_fixture STATIC bundle_fixture.c)
target_link_libraries(bundle_fixture PUBLIC kp_bundle)
target_include_directories(bundle_fixture PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
foreach(name layout manifest trust sign write read damage)
    kp_unit(bundle_${name} bundle_fixture)
endforeach()
