// What the controllers of the head share. It decides nothing.
#pragma once

#include "daemon/head/clock.h"
#include "daemon/head/jobs/job_book.h"
#include "daemon/head/jobs/output_gate.h"
#include "daemon/head/nodes/node_table.h"
#include "proto/config/config.h"

namespace rtrain::head {

/// @thread the head's.
struct HeadContext {
  static constexpr double kOverdueBeats = 3;
  HeadContext(proto::HeadConfig head_config, JobBook::Store journal_and_history, Clock head_clock,
              std::string origin)
      : config(std::move(head_config)),
        store(journal_and_history),
        gate(journal_and_history.journal),
        clock(std::move(head_clock)),
        book(journal_and_history, std::move(origin)) {}

  [[nodiscard]] SteadyTime now() const { return clock.steady(); }
  [[nodiscard]] proto::UnixMs wall() const { return clock.wall(); }
  [[nodiscard]] std::string clock_doubt() const { return clock.doubt ? clock.doubt() : ""; }
  /// There must be such a job.
  [[nodiscard]] const core::JobState& state(JobId id) const { return book.find(id)->state; }
  [[nodiscard]] store::Health health() const { return store.journal.health(); }
  /// After so long without a word its agent is overdue; after so long it is lost.
  [[nodiscard]] double overdue_s() const { return kOverdueBeats * config.heartbeat_s; }
  [[nodiscard]] double lost_after_s() const { return config.lease_s + 2 * config.heartbeat_s; }

  proto::HeadConfig config;
  JobBook::Store store;
  OutputGate gate;
  Clock clock;
  JobBook book;
  NodeTable nodes;
  Deadlines deadlines;  ///< each kind is set and cleared by one controller
  /// Grows when what a list of jobs says may be different: with every change, and each second that somebody
  /// waits.
  std::uint64_t epoch = 1;
};

/// Sends when what led to it is durable; `lost` runs when the connection is gone by then.
void send_when_durable(OutputGate& gate, const std::shared_ptr<AgentLine>& session, proto::Message message,
                       std::function<void()> lost = {});

}  // namespace rtrain::head
