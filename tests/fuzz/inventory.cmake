# SPDX-License-Identifier: Apache-2.0
kp_fuzz(inventory kp_install)
