# SPDX-License-Identifier: Apache-2.0
option(KPACK_WERROR "Warnings are errors" ON)
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wundef -Wwrite-strings
    -Wstrict-prototypes -Wmissing-prototypes -Wvla)
if(KPACK_WERROR)
    add_compile_options(-Werror)
endif()
