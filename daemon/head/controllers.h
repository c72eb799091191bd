// The controllers of the head, each with state of its own, in the order in which they are made.
#pragma once

#include "daemon/head/attempts/attempt_timers.h"
#include "daemon/head/attempts/debugging.h"
#include "daemon/head/attempts/hang_judge.h"
#include "daemon/head/attempts/launcher.h"
#include "daemon/head/attempts/profiling.h"
#include "daemon/head/jobs/eligibility.h"
#include "daemon/head/jobs/job_commands.h"
#include "daemon/head/jobs/retention.h"
#include "daemon/head/jobs/validations.h"
#include "daemon/head/nodes/node_admin.h"
#include "daemon/head/nodes/reservation_table.h"
#include "daemon/head/scheduling/scheduling.h"
#include "daemon/head/sweeps/sweeps.h"

namespace rtrain::head {

struct Controllers {
  /// All must outlive it. `changed`: see Retention.
  Controllers(HeadContext& context, Turn& turn, JobRows& rows, std::function<void(JobId)> changed);

  Launcher launcher;
  AttemptTimers timers;
  Debugging debugging;
  HangJudge hangs;
  Profiling profiling;
  ReservationTable reservations;
  Eligibility eligibility;
  Scheduling scheduling;
  JobCommands commands;
  Validations validations;
  Sweeps sweeps;
  NodeAdmin node_admin;
  Retention retention;
};

}  // namespace rtrain::head
