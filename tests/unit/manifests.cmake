# SPDX-License-Identifier: Apache-2.0
kp_unit(yaml kp_manifests)
kp_unit(objects kp_manifests)
kp_unit(pod_env kp_manifests)
kp_unit(listing kp_manifests)
kp_unit(release kp_manifests)
target_compile_definitions(test_release PRIVATE KP_RELEASES="${CMAKE_SOURCE_DIR}/manifests/releases")
