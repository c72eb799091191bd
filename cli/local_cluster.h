// A head and an agent inside this process, for verbs that run something on this machine and leave nothing
// behind.
#pragma once

#include "cli/client.h"
#include "cli/follow.h"
#include "daemon/embedded/embedded.h"

namespace rtrain::cli {

/// The state of one run: logs and records of its ranks. Kept after a failure (the logs are in it) or when the
/// user named it with --state-dir.
class StateDir {
 public:
  explicit StateDir(const Call& call);
  [[nodiscard]] const std::string& path() const { return path_; }
  /// One that nobody else has: process numbers repeat where machines or containers share a home.
  [[nodiscard]] Result<Done> make();
  void remove_unless_named() const;
  /// The log of the rank that failed; "" when it is not there.
  [[nodiscard]] std::string log_of(const proto::JobError& error, JobId job) const;

 private:
  std::optional<std::string> named_;
  std::string path_;
};
/// --state-dir and --verbose.
[[nodiscard]] std::vector<Option> local_options();

/// Its destructor kills the ranks.
class LocalCluster {
 public:
  /// With its one node registered. `with_zygote`: jobs name training functions.
  [[nodiscard]] static Result<LocalCluster> open(const Call& call, const StateDir& state, bool with_zygote);
  [[nodiscard]] const Client& client() const { return *client_; }
  /// A job that this machine can never hold would wait for ever: nobody else joins. kUnplaceable; `what`
  /// begins the sentence, `submit` is the verb for a cluster.
  [[nodiscard]] Result<Done> check_it_fits(const proto::Json& job, const std::string& what,
                                           const std::string& submit) const;

 private:
  LocalCluster(std::unique_ptr<embedded::EmbeddedCluster> cluster, std::unique_ptr<Client> client)
      : cluster_(std::move(cluster)), client_(std::move(client)) {}
  std::unique_ptr<embedded::EmbeddedCluster> cluster_;
  std::unique_ptr<Client> client_;
};

/// Follows to the end. A first signal calls `cancel` and waits for the end, a second one does not wait.
[[nodiscard]] Result<Follower::End> follow_to_end(const std::function<Result<Follower::End>()>& follow,
                                                  const Interrupts& interrupts, const std::string& what,
                                                  const Console& console,
                                                  const std::function<Result<proto::Json>()>& cancel);

}  // namespace rtrain::cli
