# SPDX-License-Identifier: Apache-2.0
kp_fuzz(release kp_manifests)
kp_fuzz(objects kp_manifests)
kp_fuzz(listing kp_manifests)
kp_fuzz(scan kp_pack)
kp_fuzz(lock kp_pack)
