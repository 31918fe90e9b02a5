# SPDX-License-Identifier: Apache-2.0
# kp_embed(TARGET SYMBOL FOLDER): every file of FOLDER becomes bytes in the program, as
# `const struct kp_embedded SYMBOL[]` (manifests/render.h), sorted by name, ended by .name = NULL.
# Run as a script (cmake -P) this file is also the generator.
if(CMAKE_SCRIPT_MODE_FILE)
    file(GLOB files RELATIVE "${FOLDER}" "${FOLDER}/*")
    list(SORT files)
    set(text "/* made by cmake/embed.cmake */\n#include \"manifests/render.h\"\n\n")
    set(table "const struct kp_embedded ${SYMBOL}[] = {\n")
    set(number 0)
    foreach(file ${files})
        file(READ "${FOLDER}/${file}" hex HEX)
        string(LENGTH "${hex}" digits)
        math(EXPR size "${digits} / 2")
        string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
        string(APPEND text "static const unsigned char file_${number}[] = {${bytes}0};\n")
        string(APPEND table "    {\"${file}\", (const char *)file_${number}, ${size}},\n")
        math(EXPR number "${number} + 1")
    endforeach()
    file(WRITE "${OUTPUT}" "${text}${table}    {0},\n};\n")
    return()
endif()

set(KP_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(kp_embed target symbol folder)
    set(output ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
    file(GLOB files CONFIGURE_DEPENDS ${folder}/*)
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DSYMBOL=${symbol} -DOUTPUT=${output} -P ${KP_EMBED_SCRIPT}
        DEPENDS ${files} ${KP_EMBED_SCRIPT} VERBATIM)
    target_sources(${target} PRIVATE ${output})
endfunction()
