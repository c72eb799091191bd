#include "daemon/agent/attempt_record.h"

#include "common/os/file.h"
#include "daemon/agent/agent_record.h"
#include "daemon/agent/old_jobs.h"
#include "proto/record/rank_files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>

namespace attempt_record_test {

using namespace rtrain;
using namespace rtrain::agent;
using namespace std::chrono_literals;

namespace {

LiveAttempt attempt(std::int64_t job, std::int64_t number) {
  LiveAttempt live;
  live.launch.job = JobId(job);
  live.launch.attempt = Attempt(number);
  live.launch.master_port = 1234;
  live.launch.ranks = {{0, "a", 0, 0, {}}};
  live.launch.spec.name = "x";
  live.launch.spec.command = {"true"};
  live.secret = "secret-" + std::to_string(job);
  return live;
}

}  // namespace

TEST_CASE("attempt record: what was written down is found until it is over") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  CHECK(find_attempts(state_dir).empty());
  REQUIRE(record_attempt(state_dir, attempt(1, 1)).has_value());
  REQUIRE(record_attempt(state_dir, attempt(2, 3)).has_value());
  CHECK(has_live_attempt(state_dir + "/jobs/2"));
  forget_attempt(state_dir, JobId(1), Attempt(1));
  CHECK_FALSE(has_live_attempt(state_dir + "/jobs/1"));
  CHECK(std::filesystem::exists(state_dir + "/jobs/1/1/launch.json"));  // its logs are still read
  const auto found = find_attempts(state_dir);
  REQUIRE(found.size() == 1);
  CHECK(found[0].launch.job == JobId(2));
  CHECK(found[0].launch.attempt == Attempt(3));
  CHECK(found[0].launch.master_port == 1234);
  CHECK(found[0].launch.spec.command == std::vector<std::string>{"true"});
  CHECK(found[0].secret == "secret-2");
}

TEST_CASE(
    "attempt record: the folders of the ranks are there before the record says that the attempt lives") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  auto two = attempt(1, 1);
  two.launch.ranks = {{0, "a", 0, 0, {}}, {3, "a", 1, 0, {}}};
  REQUIRE(record_attempt(state_dir, two).has_value());
  for (const int rank : {0, 3})
    CHECK(std::filesystem::is_directory(proto::rank_dir(state_dir, {JobId(1), Attempt(1), rank})));
}

TEST_CASE("attempt record: a secret is nobody else's to read, leftovers of the number go") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  REQUIRE(record_attempt(state_dir, attempt(1, 1)).has_value());
  std::ofstream(state_dir + "/jobs/1/1/old") << "x";
  REQUIRE(record_attempt(state_dir, attempt(1, 1)).has_value());
  CHECK_FALSE(std::filesystem::exists(state_dir + "/jobs/1/1/old"));
  CHECK((std::filesystem::status(state_dir + "/jobs/1/1/live.json").permissions() &
         std::filesystem::perms::all) == std::filesystem::perms(0600));
}

TEST_CASE("attempt record: half a record is passed over") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  for (const int job : {1, 2, 3}) REQUIRE(record_attempt(state_dir, attempt(job, 1)).has_value());
  std::ofstream(state_dir + "/jobs/1/1/live.json") << "{\"sec";
  std::filesystem::remove(state_dir + "/jobs/2/1/launch.json");
  const auto found = find_attempts(state_dir);
  REQUIRE(found.size() == 1);
  CHECK(found[0].launch.job == JobId(3));
}

TEST_CASE("attempt record: the end of a rank as it was told") {
  const test::TempDir folder;
  const std::string dir = folder.path().string();
  CHECK_FALSE(read_end(dir));
  proto::RankEnded end;
  end.key = {JobId(4), Attempt(2), 1};
  end.status.signal = 9;
  end.error = proto::RankError{"signal", "was killed", {"last words"}};
  record_end(dir, end);
  const auto read = read_end(dir);
  REQUIRE(read);
  CHECK(read->key == end.key);
  CHECK(read->status.signal == 9);
  REQUIRE(read->error);
  CHECK(read->error->log_tail == std::vector<std::string>{"last words"});
}

TEST_CASE("old jobs: a silent rank's folder stays while it runs, the others go while the agent runs",
          "[F46]") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  for (const int job : {1, 2}) REQUIRE(record_attempt(state_dir, attempt(job, 1)).has_value());
  forget_attempt(state_dir, JobId(1), Attempt(1));
  constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
  const auto now_ms = os::unix_ms_now();
  OldJobs old(state_dir);
  std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
  old.step(now, now_ms);
  old.step(now, now_ms + 8 * kDayMs);  // not before an hour has passed
  CHECK(std::filesystem::exists(state_dir + "/jobs/1"));
  old.step(now + OldJobs::kLookEach, now_ms + 8 * kDayMs);
  CHECK_FALSE(std::filesystem::exists(state_dir + "/jobs/1"));
  CHECK(std::filesystem::exists(state_dir + "/jobs/2/1/live.json"));
}

TEST_CASE("old jobs: many folders are looked at over several steps, and again an hour later", "[F46]") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  constexpr int kJobs = 3 * OldJobs::kFoldersAtOnce + 1;
  const auto make = [&] {
    for (int job = 1; job <= kJobs; ++job) {
      REQUIRE(record_attempt(state_dir, attempt(job, 1)).has_value());
      forget_attempt(state_dir, JobId(job), Attempt(1));
    }
  };
  const auto count = [&] {
    return std::distance(std::filesystem::directory_iterator(state_dir + "/jobs"),
                         std::filesystem::directory_iterator());
  };
  OldJobs old(state_dir);
  std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
  const auto later_ms = os::unix_ms_now() + 8LL * 24 * 3600 * 1000;
  for (int round = 0; round < 2; ++round, now += OldJobs::kLookEach) {
    make();
    old.step(now, later_ms);
    CHECK(count() == kJobs - OldJobs::kFoldersAtOnce);
    while (!old.done()) old.step(now, later_ms);
    CHECK(count() == 0);
  }
}

TEST_CASE("agent record: supervisors by their process, secret and socket") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  CHECK_FALSE(read_agent_record(state_dir));
  const AgentRecord record{"secret", "/x/agent.sock", std::nullopt, os::ProcessIdentity{17, 4711, "boot"}};
  REQUIRE(write_agent_record(state_dir, record).has_value());
  const auto read = read_agent_record(state_dir);
  REQUIRE(read);
  CHECK(read->secret == "secret");
  CHECK(read->socket == "/x/agent.sock");
  CHECK_FALSE(read->zygote);
  CHECK(read->keeper == record.keeper);
  std::ofstream(state_dir + "/agent.json") << "{}";
  CHECK_FALSE(read_agent_record(state_dir));
}

TEST_CASE("lease file: the last grant of this boot") {
  const test::TempDir folder;
  const std::string state_dir = folder.path().string();
  LeaseFile file(state_dir);
  CHECK_FALSE(file.read());
  const LeaseFile::Time from(123456789ns);
  file.write({LeaseFile::Time(99'999'999'999'999ns), 3'600'000ms});
  file.write({from, 15'000ms});  // shorter than what stood there
  const auto grant = LeaseFile(state_dir).read();
  REQUIRE(grant);
  CHECK(grant->from == from);
  CHECK(grant->length == 15'000ms);
  std::ofstream(state_dir + "/lease") << "00000000-0000-0000-0000-000000000000 1 2 .\n";
  CHECK_FALSE(LeaseFile(state_dir).read());
  std::ofstream(state_dir + "/lease") << os::boot_id() << " 1";
  CHECK_FALSE(LeaseFile(state_dir).read());
}

}  // namespace attempt_record_test
