# SPDX-License-Identifier: Apache-2.0
kp_unit(net_http kp_net)
kp_unit(net_server kp_net)
