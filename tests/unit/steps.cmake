# SPDX-License-Identifier: Apache-2.0
kp_unit(render kp_manifests)
kp_unit(pki kp_install)
kp_unit(steps kp_install)
kp_unit(prepare kp_install)
kp_unit(upgrade kp_install)
kp_unit(endpoint kp_install)
kp_unit(redact kp_install)
kp_unit(clusternet kp_install)
