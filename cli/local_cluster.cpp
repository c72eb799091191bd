#include "cli/local_cluster.h"

#include "common/os/file.h"
#include "common/os/token.h"

#include <csignal>
#include <filesystem>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::cli {

namespace fs = std::filesystem;

namespace {

/// The cluster's one agent registers on its own thread; before that every plan says "no node".
Result<Done> wait_for_the_node(const Client& client) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    auto answer = client.get("/v1/nodes");
    if (!answer) return answer.error();
    auto nodes = as_list<proto::NodeDoc>(*answer, "nodes");
    if (!nodes) return nodes.error();
    if (!nodes->empty() && nodes->front().alive) return ok();
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kTimeout, "the agent inside this process did not register within 10 s",
                  "--verbose shows what it logs");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

StateDir::StateDir(const Call& call)
    : named_(call.args.text("state-dir")),
      path_(fs::absolute(named_ ? *named_
                                : os::state_home(call.getenv) + "/run-" + std::to_string(::getpid()) + "-" +
                                      std::to_string(os::unix_ms_now() / 1000))
                .lexically_normal()
                .string()) {}

Result<Done> StateDir::make() {
  if (named_) return os::make_dirs(path_, 0700);
  const std::string wanted = path_;
  if (auto made = os::make_dirs(fs::path(path_).parent_path().string(), 0700); !made) return made;
  for (int next = 2; ::mkdir(path_.c_str(), 0700) != 0; ++next) {
    if (errno != EEXIST) return fail_errno("make folder " + path_, errno);
    path_ = wanted + "-" + std::to_string(next);
  }
  return ok();
}

void StateDir::remove_unless_named() const {
  std::error_code ignored;
  if (!named_) fs::remove_all(path_, ignored);
}

std::string StateDir::log_of(const proto::JobError& error, JobId job) const {
  if (!error.rank) return {};
  const std::string below = "/jobs/" + rtrain::to_string(job) + "/" + std::to_string(error.attempt) +
                            "/rank-" + std::to_string(*error.rank) + "/log";
  for (const char* agent : {"/agent", ""}) {
    std::error_code ignored;
    if (fs::exists(path_ + agent + below, ignored)) return path_ + agent + below;
  }
  return {};
}

std::vector<Option> local_options() {
  return {{"state-dir", 0, "DIR", "where logs and records go (default $XDG_STATE_HOME/rtrain/run-PID-TIME)"},
          {"verbose", 'v', "", "show what head and agent log"}};
}

Result<LocalCluster> LocalCluster::open(const Call& call, const StateDir& state, bool with_zygote) {
  auto cluster = embedded::EmbeddedCluster::open({.state_dir = state.path(),
                                                  .with_zygote = with_zygote,
                                                  .log_level = call.args.has("verbose") ? "info" : "warn"});
  if (!cluster) return cluster.error();
  auto endpoint = net::parse_endpoint((*cluster)->api_endpoint());
  if (!endpoint) return endpoint.error();
  LocalCluster local(std::move(*cluster), std::make_unique<Client>(std::move(*endpoint), ""));
  if (auto registered = wait_for_the_node(local.client()); !registered) return registered.error();
  return local;
}

Result<Done> LocalCluster::check_it_fits(const proto::Json& job, const std::string& what,
                                         const std::string& submit) const {
  auto answer = client_->post("/v1/plan", job);
  if (!answer) return answer.error();
  auto plan = as<proto::PlanDoc>(*answer);
  if (!plan) return plan.error();
  if (!plan->feasible)
    return fail(Errc::kUnplaceable, what + " does not fit on this machine: " + plan->reason,
                "ask for less in scaling_config, or submit it to a cluster: " + submit);
  return ok();
}

Result<Follower::End> follow_to_end(const std::function<Result<Follower::End>()>& follow,
                                    const Interrupts& interrupts, const std::string& what,
                                    const Console& console,
                                    const std::function<Result<proto::Json>()>& cancel) {
  auto end = follow();
  if (!end || *end != Follower::End::kInterrupted) return end;
  const bool nobody_reads = interrupts.signal() == SIGPIPE;
  if (!nobody_reads) console.note("cancelling " + what + "; press Ctrl-C again to kill it");
  auto cancelled = cancel();
  // conflict: it has just ended
  if (!cancelled && cancelled.error().code() != Errc::kConflict) return cancelled.error();
  return follow();
}

}  // namespace rtrain::cli
