# SPDX-License-Identifier: Apache-2.0
kp_fuzz(bundle_file kp_bundle)
kp_fuzz(bundle_manifest kp_bundle)
kp_fuzz(bundle_signatures kp_bundle)
kp_fuzz(bundle_key kp_bundle)
kp_fuzz(receipt kp_bundle)
kp_fuzz(slices kp_bundle)
