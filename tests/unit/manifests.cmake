# SPDX-License-Identifier: Apache-2.0
kp_unit(yaml kp_manifests)
