# SPDX-License-Identifier: Apache-2.0
add_library(node_peer STATIC node_peer.c)
target_link_libraries(node_peer PUBLIC bundle_fixture kp_node)
kp_unit(protocol kp_protocol)
foreach(name bundles files serve trust)
    kp_unit(node_${name} node_peer)
endforeach()
kp_unit(session kp_session)
kp_unit(node_mirrors kp_node)
