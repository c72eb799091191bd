#include "worker/sdk/rank_end.h"

#include "common/base/lost_peer.h"
#include "worker/runtime/rank_snapshot.h"
#include "worker/runtime/record.h"
#include "worker/sdk/job.h"
#include "worker/sdk/rank_failure.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <thread>

namespace rtrain::sdk {
namespace {

using std::chrono::milliseconds;

/// A rank that only saw its peer's connection break waits this long with its own error.
constexpr milliseconds kPeerSpeaksFirst{400};
/// As long a thread of c10d's waits for the training thread.
constexpr milliseconds kTrainingThreadSpeaksFirst{400};

}  // namespace

void flush_output() {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
}

void end_with_error(const runtime::Environment& environment, const char* kind, const std::string& message) {
  flush_output();
  if (tells_of_lost_peer(message)) std::this_thread::sleep_for(kPeerSpeaksFirst);
  std::fprintf(stderr, "rtrain: %s\n", message.c_str());
  if (!environment.rank_dir.empty())
    if (auto written = runtime::write_error_record(environment.rank_dir, {kind, message, {}}); !written)
      std::fprintf(stderr, "rtrain: %s\n", written.error().message().c_str());
  (void)Job::current().flush_metrics(kFlushAfterFailure);
  if (auto* session = Job::current().session()) {
    // The ranks that are left are asked where they are; this one cannot be any more.
    if (environment.launch.world_size > 1)
      session->send(proto::RankDebug{environment.key, 0, runtime::rank_snapshot(), {}});
    (void)session->flush(kFlushAfterFailure);
  }
  ::_exit(1);
}

void end_from_any_thread(const runtime::Environment& environment, const std::exception_ptr& thrown) {
  const auto failure = rank_failure(thrown, "exception");
  std::this_thread::sleep_for(kTrainingThreadSpeaksFirst);
  if (::access((environment.rank_dir + "/error.json").c_str(), F_OK) == 0) ::_exit(1);
  end_with_error(environment, failure.kind.c_str(), failure.message);
}

}  // namespace rtrain::sdk
