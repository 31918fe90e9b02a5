# SPDX-License-Identifier: Apache-2.0
kp_fuzz(protocol kp_protocol)
kp_fuzz(approve kp_node)
kp_fuzz(served kp_node)
