# SPDX-License-Identifier: Apache-2.0
# kp_session: one node over SSH, as kinstall sees it.
kp_room(kp_session session/session.c session/session_place.c session/session_calls.c session/transport.c
    session/ssh_openssh.c session/ssh_libssh2.c
    DEPENDS kp_protocol kp_bundle kp_net kp_core dep_ssh2)
target_compile_definitions(kp_session PRIVATE KP_HAVE_LIBSSH2)
