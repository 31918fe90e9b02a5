# SPDX-License-Identifier: Apache-2.0
# Cross build of the static programs. Debian: dpkg --add-architecture arm64, crossbuild-essential-arm64 and the
# :arm64 development packages of tests/packages/arm64.txt.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
