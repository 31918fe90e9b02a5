# SPDX-License-Identifier: Apache-2.0
kp_fuzz(trust_list kp_bundle)
kp_fuzz(revocations kp_bundle)
