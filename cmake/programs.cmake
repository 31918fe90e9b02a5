# SPDX-License-Identifier: Apache-2.0
# kp_room(NAME sources… DEPENDS libs…): the static library of one folder.
function(kp_room name)
    cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
    add_library(${name} STATIC ${ROOM_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PUBLIC ${ROOM_DEPENDS})
endfunction()

# kp_static_program(NAME sources… DEPENDS libs…): kinstall, knode, kregistry.
function(kp_static_program name)
    cmake_parse_arguments(PROGRAM "" "" "DEPENDS" ${ARGN})
    add_executable(${name} ${PROGRAM_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PRIVATE ${PROGRAM_DEPENDS})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/libexec/kpack/${KPACK_ARCH})
    if(KPACK_STATIC)
        target_link_options(${name} PRIVATE -static)
        set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
        set_target_properties(${name} PROPERTIES C_LINKER_LAUNCHER ${CMAKE_SOURCE_DIR}/cmake/link-static)
    endif()
    install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/kpack/${KPACK_ARCH})
endfunction()
