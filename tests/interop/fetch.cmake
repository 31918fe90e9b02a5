# SPDX-License-Identifier: Apache-2.0
# The download half of kpack against a server that does not behave.
add_executable(fetch_probe fetch_probe.c)
target_link_libraries(fetch_probe PRIVATE kp_pack)
