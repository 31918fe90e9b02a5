# SPDX-License-Identifier: Apache-2.0
kp_fuzz(http kp_net)
kp_fuzz(oci kp_registry)
