# SPDX-License-Identifier: Apache-2.0
kp_unit(scan kp_pack)
kp_unit(resolve kp_pack)
kp_unit(lock kp_pack)
