# SPDX-License-Identifier: Apache-2.0
kp_unit(registry_oci kp_registry)
