// SPDX-License-Identifier: BSD-3-Clause
//
// What is counted about who may connect (derper_admission_*): verdicts, the answers of each source
// by their reasons, and who waits.
#ifndef DERPER_SERVER_ADMISSION_METRICS_H
#define DERPER_SERVER_ADMISSION_METRICS_H

#include "access/access.h"
#include "web/metrics.h"

// A metric_source, whose data is a struct access; NULL, where everybody may connect: nothing.
void admission_write_metrics(struct metrics *metrics, void *access);

#endif
