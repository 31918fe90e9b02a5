# SPDX-License-Identifier: Apache-2.0
# Man pages come from the programs' own tables of commands and options, so that they cannot differ.
if(NOT CMAKE_CROSSCOMPILING)
    foreach(program kpack kinstall kregistry)
        if(TARGET ${program})
            add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/${program}.1
                COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
                COMMAND ${program} man > ${CMAKE_BINARY_DIR}/man/${program}.1
                DEPENDS ${program} VERBATIM)
            list(APPEND KPACK_MAN_PAGES ${CMAKE_BINARY_DIR}/man/${program}.1)
        endif()
    endforeach()
    add_custom_target(man ALL DEPENDS ${KPACK_MAN_PAGES})
    # docs/inventory.md's tables come from the table that reads inventories; ctest compares.
    add_custom_target(docs COMMAND ${CMAKE_SOURCE_DIR}/docs/tables.sh $<TARGET_FILE:kinstall>
        DEPENDS kinstall VERBATIM)
    install(FILES ${KPACK_MAN_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
