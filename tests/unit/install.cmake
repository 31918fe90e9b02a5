# SPDX-License-Identifier: Apache-2.0
kp_unit(network kp_install)
kp_unit(inventory kp_install)
kp_unit(kubespray kp_install)
target_compile_definitions(test_kubespray PRIVATE KP_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
kp_unit(preflight kp_install)
kp_unit(journal kp_install)
kp_unit(audit kp_install)
kp_unit(etcd kp_install)
