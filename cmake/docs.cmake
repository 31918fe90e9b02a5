# SPDX-License-Identifier: Apache-2.0
if(EXISTS ${CMAKE_SOURCE_DIR}/docs/man)
    file(GLOB KPACK_MAN_PAGES ${CMAKE_SOURCE_DIR}/docs/man/*.1)
    if(KPACK_MAN_PAGES)
        install(FILES ${KPACK_MAN_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    endif()
endif()
