# SPDX-License-Identifier: Apache-2.0
kp_fuzz(fetch_headers kp_pack)
kp_fuzz(image_document kp_pack)
kp_fuzz(token kp_pack)
kp_fuzz(layers kp_pack)
