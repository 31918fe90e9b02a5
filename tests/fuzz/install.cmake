# SPDX-License-Identifier: Apache-2.0
kp_fuzz(audit_log kp_install)
kp_fuzz(redact kp_install)
