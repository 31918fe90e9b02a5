# SPDX-License-Identifier: Apache-2.0
kp_unit(confine kp_core)
kp_unit(core kp_core)
kp_unit(hash_pair kp_core)
kp_unit(core_json kp_core)
kp_unit(core_proc kp_core)
kp_unit(core_cli kp_core)
kp_unit(chain kp_core)
kp_unit(gzip kp_core)
