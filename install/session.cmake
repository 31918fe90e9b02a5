# SPDX-License-Identifier: Apache-2.0
# kp_session: one node over SSH, as kinstall sees it.
kp_room(kp_session session.c session_place.c session_calls.c transport.c ssh_openssh.c
    DEPENDS kp_protocol kp_bundle kp_core)
