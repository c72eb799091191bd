// What a follower makes of streams that end.
#include "cli/follow.h"

#include "cli/exit_code.h"
#include "tests/support/catch.h"

#include <deque>

namespace follow_test {

using namespace rtrain;
using namespace rtrain::cli;
using namespace std::chrono_literals;

namespace {

SseEvent state(const std::string& id) {
  proto::JobDoc job;
  job.id = JobId(7);
  job.state = "RUNNING";
  return {"state", proto::dump_json(proto::Json(job)), id};
}
SseEvent end_of(const std::string& state) {
  proto::ResultDoc result;
  result.id = JobId(7);
  result.state = state;
  return {"end", proto::dump_json(proto::Json(result)), "9"};
}

/// A stream that gives these events, in one go, and then breaks off.
class Script final : public EventSource {
 public:
  explicit Script(std::vector<SseEvent> events) : events_(std::move(events)) {}
  Result<std::vector<SseEvent>> read(std::chrono::steady_clock::time_point) override {
    if (events_.empty()) return fail(Errc::kUnavailable, "the stream ended: the head closed the stream");
    return std::exchange(events_, {});
  }

 private:
  std::vector<SseEvent> events_;
};

struct Followed {
  boost::asio::io_context io;
  Interrupts interrupts{io};
  Client client{net::UnixEndpoint{"/nobody"}, ""};  // never asked
  Console console{ColourChoice::kNever, [](const char*) -> const char* { return nullptr; }};
  FollowView view{{.states = false}};
  std::deque<Script> streams;  ///< the next ones that open; then the head is away

  std::optional<proto::ResultDoc> result;
  Result<Follower::End> run() {
    Follower follower(io, interrupts, client, console, view, JobId(7),
                      {.logs = false, .known = true, .resume_within = 0ms});
    follower.read_from(
        [this](const std::string&, const std::string&) -> Result<std::unique_ptr<EventSource>> {
          if (streams.empty()) return fail(Errc::kUnavailable, "nobody answers");
          auto next = std::make_unique<Script>(std::move(streams.front()));
          streams.pop_front();
          return std::unique_ptr<EventSource>(std::move(next));
        });
    auto end = follower.run();
    result = follower.result();
    return end;
  }
};

}  // namespace

TEST_CASE("follow: a job's end is its stream's last event") {
  Followed f;
  f.streams.emplace_back(std::vector{state("1"), end_of("FAILED")});
  const auto end = f.run();
  REQUIRE(end.has_value());
  CHECK(*end == Follower::End::kEnded);
  CHECK(exit_of_state(f.result->state) == Exit::kFailed);
}

TEST_CASE("follow: a stream that is lost for good is never a success") {
  Followed f;
  const bool spoke = GENERATE(false, true);
  if (spoke) f.streams.emplace_back(std::vector{state("1")});
  const auto end = f.run();
  REQUIRE(end.has_error());
  CHECK(exit_of(end.error().code()) == Exit::kUnreachable);
  CHECK(end.error().message().find("could not be resumed") != std::string::npos);
  CHECK_FALSE(f.result.has_value());
}

}  // namespace follow_test
