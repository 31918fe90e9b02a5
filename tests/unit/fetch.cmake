# SPDX-License-Identifier: Apache-2.0
kp_unit(archive kp_pack)
kp_unit(base64 kp_core)
kp_unit(cache kp_pack)
kp_unit(credentials kp_pack)
kp_unit(fetch kp_pack)
kp_unit(mirrors kp_pack)
kp_unit(oci kp_pack)
kp_unit(reference kp_pack)
