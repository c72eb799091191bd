// Arrays of jobs of which only so many may run at a time ("%10"): whose turn it is. Pure.
#pragma once

#include "proto/message/types.h"

#include <map>
#include <set>

namespace rtrain::head {

/// A job that has its turn keeps it until it ends or is held: a retry and a drain give nothing away.
class ArrayTurns {
 public:
  /// The job has an attempt: it has its turn, whatever the limit.
  void runs(JobId id, const proto::ArrayTask& task);
  /// The job stands in line. The jobs that have a turn now and had none before come back, by number.
  [[nodiscard]] std::vector<JobId> waits(JobId id, const proto::ArrayTask& task);
  /// The job has ended, or is held. Likewise.
  [[nodiscard]] std::vector<JobId> leaves(JobId id, const proto::ArrayTask& task);
  [[nodiscard]] bool has_turn(JobId id, const proto::ArrayTask& task) const;

 private:
  struct Line {
    std::set<JobId> turns, waiting;
  };
  [[nodiscard]] std::vector<JobId> move_up(Line& line, int max_running);
  std::map<JobId, Line> lines_;  ///< of arrays with a limit
};

}  // namespace rtrain::head
