#include "daemon/store/sqlite_store.h"

#include "common/os/file.h"
#include "daemon/store/disk_error.h"
#include "daemon/store/fsck.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/schema.h"
#include "daemon/store/segment.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"
#include "tests/support/old_journal.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <sqlite3.h>

namespace sqlite_store_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

/// A store in a folder of its own, and jobs that live by the events that it is given.
struct Disk : test::DiskStore {
  Recovered found;
  std::map<JobId, core::JobState> jobs;
  proto::UnixMs now = 1000;

  Disk() : found(store->take_recovered()) {}
  void open() {
    DiskStore::open();
    found = store->take_recovered();
  }
  JobId submit() {
    const JobId id(jobs.empty() ? store->next_job_id().value()
                                : std::max(store->next_job_id().value(), jobs.rbegin()->first.value() + 1));
    proto::JobSubmitted event{test::command_spec(1, 3), "run", "/runs/run", "ada", {}};
    jobs[id] = core::submitted(id, ++now, event);
    store->append(id, {now, event}, jobs[id]);
    return id;
  }
  void apply(JobId id, proto::JobEvent event) {
    const proto::StampedEvent stamped{++now, std::move(event)};
    REQUIRE(core::advance(jobs.at(id), stamped).has_value());
    const auto* report = std::get_if<proto::MetricsReported>(&stamped.event);
    if (report != nullptr)
      store->append(id, proto::MetricPoint{report->attempt.value(), report->seq, now, report->metrics,
                                           report->checkpoint ? report->checkpoint->path : ""});
    if (report == nullptr || report->checkpoint) store->append(id, stamped, jobs.at(id));
    while (auto due = core::follow_up(jobs.at(id))) apply(id, std::move(*due));
  }
  void run(JobId id) {
    apply(id, test::placed(jobs.at(id).attempt.value() + 1, 1));
    apply(id, test::forked(jobs.at(id).attempt.value(), 0));
    apply(id, test::entered(jobs.at(id).attempt.value(), 0));
  }
  [[nodiscard]] std::string error_of_open() {
    store.reset();
    auto opened = SqliteStore::open(io.get_executor(), {dir, 0, false});
    REQUIRE(opened.has_error());
    return opened.error().message() + " | " + opened.error().hint();
  }
  void sql(const std::string& text) {
    auto database = *Database::open(journal_path(dir), Database::Mode::kReadWrite);
    const auto done = database->execute(text);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done.has_value());
  }
};

}  // namespace

TEST_CASE("store: jobs that live come back as they were") {
  Disk disk;
  const auto waiting = disk.submit(), running = disk.submit(), ended = disk.submit();
  disk.run(running);
  for (int seq = 1; seq <= 5; ++seq) disk.apply(running, test::report(1, seq, {{"loss", 1.0 / seq}}));
  disk.run(ended);
  disk.apply(ended, test::exited(1, 0));
  disk.store->put({"node", "a", {{"cordoned", true}}});
  disk.store->put({"node", "b", 1});
  disk.store->put({"node", "b", nullptr});
  disk.settle();
  disk.open();
  REQUIRE(disk.found.jobs.size() == 2);
  for (const auto& job : disk.found.jobs) CHECK(to_json(job) == to_json(disk.jobs.at(job.id)));
  CHECK(disk.found.jobs[0].id == waiting);
  CHECK(disk.found.jobs[1].reports == 5);
  CHECK(disk.found.jobs[1].last_seq == 5);
  REQUIRE(disk.found.documents.size() == 1);
  CHECK(disk.found.documents[0].name == "a");
  CHECK(disk.found.documents[0].value["cordoned"] == true);
  CHECK(disk.store->next_job_id() == JobId(4));
  const auto state = *disk.store->ended_job(ended);
  REQUIRE(state);
  CHECK(to_json(*state) == to_json(disk.jobs.at(ended)));
  CHECK_FALSE(*disk.store->ended_job(running));
  CHECK_FALSE(*disk.store->ended_job(JobId(99)));
}

TEST_CASE("store: what was appended is durable only when the disk has it") {
  Disk disk;
  int told = 0;
  disk.store->on_durable([&] { ++told; });
  disk.submit();
  CHECK(disk.store->appended().events == 1);
  CHECK(disk.store->durable().events == 0);
  disk.settle();
  CHECK(told == 1);
  CHECK(disk.store->durable() == Mark{1, 0});
}

TEST_CASE(
    "store: what one handler appends is there as a whole or not at all, wherever the log ends after a "
    "crash") {
  Disk disk;
  const std::string log = journal_path(disk.dir) + "-wal";
  disk.submit();
  disk.settle();
  const auto before = std::filesystem::file_size(log);
  constexpr std::size_t kArray = 1000;  // takes longer than the writer needs to begin
  for (std::size_t i = 0; i < kArray; ++i) disk.submit();
  disk.settle();
  const auto after = std::filesystem::file_size(log);
  std::set<std::size_t> found;
  for (int part = 0; part <= 50; ++part) {
    const auto cut = before + (after - before) * static_cast<std::uintmax_t>(part) / 50;
    test::TempDir crashed;
    const auto dir = crashed.path().string();
    std::filesystem::copy_file(journal_path(disk.dir), journal_path(dir));
    std::filesystem::copy_file(log, journal_path(dir) + "-wal");
    std::filesystem::resize_file(journal_path(dir) + "-wal", cut);
    auto next = SqliteStore::open(disk.io.get_executor(), {dir, 0, false});
    REQUIRE(next.has_value());
    found.insert((*next)->take_recovered().jobs.size());
  }
  CHECK(found == std::set<std::size_t>{1, 1 + kArray});
}

TEST_CASE("store: events and metrics of a job are read by pages") {
  Disk disk;
  const auto id = disk.submit();
  disk.run(id);
  for (int seq = 1; seq <= 2500; ++seq) disk.apply(id, test::report(1, seq, {{"seq", seq}}));
  disk.settle();
  const auto check = [&](std::size_t count) {
    const auto events = *disk.store->events(id, 0, 100);
    REQUIRE(events.size() == count);
    CHECK(std::holds_alternative<proto::RankEntered>(events[3].event));
    CHECK(disk.store->events(id, 3, 1)->size() == 1);
    CHECK(disk.store->events(id, static_cast<std::int64_t>(count), 100)->empty());
    std::int64_t next = 0;
    for (bool more = true; more;) {
      const auto page = *disk.store->metrics(id, next, 1000);
      for (const auto& point : page.points) REQUIRE(point.metrics["seq"] == ++next);
      CHECK(page.next == next);
      more = page.more;
    }
    CHECK(next == 2500);
    CHECK(disk.store->metrics(id, 2500, 10)->points.empty());
  };
  check(4);
  disk.open();
  check(4);
  disk.apply(id, test::exited(1, 0));
  disk.settle();
  check(6);
}

TEST_CASE("store: ended jobs, newest first") {
  Disk disk;
  for (int i = 0; i < 5; ++i) {
    const auto id = disk.submit();
    if (i == 2) continue;
    disk.apply(id, proto::CancelRequested{"ada"});
  }
  disk.settle();
  std::vector<std::int64_t> ids;
  for (const auto& job : *disk.store->ended_jobs(JobId(5), 2)) ids.push_back(job.id.value());
  CHECK(ids == std::vector<std::int64_t>{4, 2});
}

TEST_CASE("store: a job of many events starts from its snapshot") {
  Disk disk;
  const auto id = disk.submit();
  for (int i = 0; i < 600; ++i) {
    disk.apply(id, proto::JobHeld{"ada"});
    disk.apply(id, proto::JobReleased{"ada"});
  }
  disk.settle();
  disk.store.reset();
  // Events before the snapshot are not read: they may be anything.
  disk.sql("UPDATE events SET json='?' WHERE number<900");
  disk.open();
  REQUIRE(disk.found.jobs.size() == 1);
  CHECK(to_json(disk.found.jobs[0]) == to_json(disk.jobs.at(id)));
}

TEST_CASE("store: numbers go on above a mark that a restored database does not know") {
  Disk disk;
  for (int i = 0; i < 3; ++i) disk.submit();
  disk.settle();
  disk.store.reset();
  std::filesystem::copy_file(journal_path(disk.dir), disk.dir + "/copy");
  disk.open();
  CHECK(disk.store->next_job_id() == JobId(4));
  for (int i = 0; i < 40; ++i) disk.submit();
  disk.settle();
  disk.store.reset();
  std::filesystem::rename(disk.dir + "/copy", journal_path(disk.dir));
  disk.open();
  CHECK(disk.found.jobs.size() == 3);
  CHECK(disk.store->next_job_id().value() > 43);
}

TEST_CASE("store: a page of metrics is bounded by its bytes, too", "[F42]") {
  Disk disk;
  const auto id = disk.submit();
  disk.run(id);
  const std::string large(200u << 10, 'x');
  for (int seq = 1; seq <= 50; ++seq) disk.apply(id, test::report(1, seq, {{"seq", seq}, {"text", large}}));
  disk.settle();
  std::int64_t next = 0;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    const auto page = *disk.store->metrics(id, next, 1000);
    CHECK(page.points.size() * large.size() < kMetricPageBytes + (256u << 10));
    for (const auto& point : page.points) REQUIRE(point.metrics["seq"] == ++next);
    more = page.more;
  }
  CHECK(next == 50);
  CHECK(pages > 2);
}

TEST_CASE("store: damaged metrics are named and never skipped") {
  Disk disk;
  const auto id = disk.submit();
  disk.run(id);
  for (int seq = 1; seq <= 10; ++seq) disk.apply(id, test::report(1, seq));
  disk.apply(id, test::exited(1, 0));
  disk.settle();
  const auto path = segment_path(disk.dir, id, 0);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(kSegmentHeaderBytes + 100);
    file.put('!');
  }
  const auto page = disk.store->metrics(id, 0, 100);
  REQUIRE(page.has_error());
  CHECK(page.error().message().find(path + ", offset ") != std::string::npos);
  CHECK(page.error().hint().find("rtraind fsck") != std::string::npos);
}

TEST_CASE("store: a journal that cannot be trusted is refused with the way out") {
  Disk disk;
  disk.submit();
  disk.settle();
  disk.store.reset();
  const auto path = journal_path(disk.dir);
  SECTION("newer schema") {
    disk.sql("PRAGMA user_version=99");
    const auto error = disk.error_of_open();
    CHECK(error.find("schema version 99") != std::string::npos);
    CHECK(error.find("rtraind recover") != std::string::npos);
  }
  SECTION("no database") {
    REQUIRE(os::write_file_atomic(path, std::string(9000, 'x')).has_value());
    CHECK(disk.error_of_open().find("is broken") != std::string::npos);
  }
  SECTION("empty") {
    std::filesystem::resize_file(path, 0);
    CHECK(disk.error_of_open().find("is broken: the file is empty") != std::string::npos);
  }
  SECTION("truncated") {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    const auto error = disk.error_of_open();
    CHECK(error.find("is broken") != std::string::npos);
    CHECK(error.find("rtraind fsck") != std::string::npos);
  }
  SECTION("another program's") {
    disk.sql("PRAGMA application_id=1");
    CHECK(disk.error_of_open().find("another program") != std::string::npos);
  }
}

TEST_CASE("store: a job that cannot be read is set aside, and the others go on", "[F40]") {
  Disk disk;
  const auto first = disk.submit(), second = disk.submit(), third = disk.submit();
  disk.store->put({"node", "a", {{"cordoned", true}}});
  disk.store->put({"node", "b", {{"cordoned", true}}});
  disk.settle();
  disk.store.reset();
  disk.sql("UPDATE events SET json='{}' WHERE job=1");
  disk.sql(
      "UPDATE specs SET json=replace(json, '\"num_workers\":1', '\"num_workers\":\"nan\"') "
      "WHERE id=(SELECT spec FROM jobs WHERE id=2)");
  disk.sql("UPDATE documents SET value='{\"cordoned\":' WHERE name='a'");
  disk.open();
  REQUIRE(disk.found.jobs.size() == 1);
  CHECK(disk.found.jobs[0].id == third);
  REQUIRE(disk.found.set_aside.size() == 3);
  CHECK(disk.found.set_aside[0].job == first);
  CHECK(disk.found.set_aside[0].why == "event 0: an event without a type");
  CHECK(disk.found.set_aside[1].job == second);
  CHECK_THAT(disk.found.set_aside[1].why,
             Catch::Matchers::Contains("event 0: its spec: scaling_config.num_workers"));
  CHECK(disk.found.set_aside[2].what == "document node a");
  REQUIRE(disk.found.documents.size() == 1);
  CHECK(disk.found.documents[0].name == "b");
  CHECK(disk.store->next_job_id().value() == 4);
  disk.store.reset();
  const auto checked = fsck(disk.dir);
  REQUIRE(checked.has_value());
  CHECK(checked->problems.size() == 3);
  for (const char* words : {"job 1: event 0", "job 2: event 0", "document node a"})
    CHECK(std::ranges::any_of(
        checked->problems, [&](const std::string& line) { return line.find(words) != std::string::npos; }));
}

TEST_CASE("store: an ended job that cannot be read stands in the list as such", "[F40]") {
  Disk disk;
  for (int i = 0; i < 3; ++i) disk.apply(disk.submit(), proto::CancelRequested{"ann"});
  disk.settle();
  disk.store.reset();
  disk.sql("UPDATE jobs SET snapshot='{\"id\": 2, \"last_seq\": 1e99}' WHERE id=2");
  disk.open();
  const auto listed = disk.store->ended_jobs(JobId(100), 10);
  REQUIRE(listed.has_value());
  REQUIRE(listed->size() == 3);
  CHECK((*listed)[1].id == JobId(2));
  CHECK((*listed)[1].phase == core::JobPhase::kCancelled);
  CHECK_THAT((*listed)[1].verdict, Catch::Matchers::StartsWith("its record cannot be read: "));
  CHECK((*listed)[0].verdict.empty());
  const auto one = disk.store->ended_job(JobId(2));
  REQUIRE(one.has_value());
  CHECK((*one)->verdict == (*listed)[1].verdict);
}

TEST_CASE("store: a start knows how many jobs have ended and how, also from a journal of the schema before") {
  Disk disk;
  for (int i = 0; i < 5; ++i) {
    const auto id = disk.submit();
    disk.run(id);
    if (i < 3) disk.apply(id, test::exited(1, 0));
    if (i == 3) disk.apply(id, proto::CancelRequested{"bob"}), disk.apply(id, test::killed(1, 0));
  }
  disk.settle();
  disk.store.reset();
  bool migrated = false;
  SECTION("of this schema") {}
  SECTION("of schema 1") {
    test::make_old_journal(disk.dir, 1);
    migrated = true;
  }
  disk.open();
  CHECK(disk.found.jobs.size() == 1);
  CHECK(disk.found.ended == std::map<core::JobPhase, std::int64_t>{{core::JobPhase::kSucceeded, 3},
                                                                   {core::JobPhase::kCancelled, 1}});
  auto database = *Database::open(journal_path(disk.dir), Database::Mode::kReadOnly);
  CHECK(*database->integer("PRAGMA user_version") == kSchemaVersion);
  CHECK(*database->integer("SELECT count(*) FROM sqlite_schema WHERE name='jobs_ended_as'") == 1);
  CHECK(std::filesystem::exists(disk.dir + "/backups") == migrated);
}

TEST_CASE("store: a journal whose log is gone is refused when its head was killed, and not else") {
  Disk disk;
  disk.submit();
  disk.settle();
  const auto copy_without_log = [&] {
    test::TempDir copied;
    std::filesystem::copy_file(journal_path(disk.dir), journal_path(copied.path().string()));
    auto opened = SqliteStore::open(disk.io.get_executor(), {copied.path().string(), 0, false});
    return opened ? std::string() : opened.error().message() + " | " + opened.error().hint();
  };
  const auto refusal = copy_without_log();  // as it lies there while a head writes
  CHECK(refusal.find("-wal, with its last events, is gone") != std::string::npos);
  CHECK(refusal.find("rtraind recover") != std::string::npos);
  disk.open();  // closed cleanly between
  disk.store.reset();
  CHECK(copy_without_log().empty());
  { const auto database = open_journal(disk.dir); }  // a start that fails later on
  disk.open();
}

TEST_CASE("store: the journal of an older head is rewritten once, so that it can become smaller") {
  Disk disk;
  const auto id = disk.submit();
  disk.settle();
  disk.store.reset();
  disk.sql("PRAGMA auto_vacuum=NONE; VACUUM");
  const auto mode = [&] {
    return *(*Database::open(journal_path(disk.dir), Database::Mode::kReadOnly))
                ->integer("PRAGMA auto_vacuum");
  };
  REQUIRE(mode() == 0);
  disk.open();
  CHECK(mode() == 2);
  REQUIRE(disk.found.jobs.size() == 1);
  CHECK(disk.found.jobs[0].id == id);
}

TEST_CASE("store: a network file system is refused by its name, with the way out") {
  CHECK(check_file_system("/var/lib/rtrain", 0xEF53).has_value());      // ext4
  CHECK(check_file_system("/var/lib/rtrain", 0x01021994).has_value());  // tmpfs
  for (const auto& [type, name] :
       {std::pair(0x6969u, "NFS"), std::pair(0xFF534D42u, "SMB"), std::pair(0x0BD00BD0u, "Lustre")}) {
    const auto refused = check_file_system("/var/lib/rtrain", type);
    REQUIRE(refused.has_error());
    CHECK(refused.error().message().find("/var/lib/rtrain is on a network file system (" + std::string(name) +
                                         ")") != std::string::npos);
    CHECK(refused.error().hint().find("local disk") != std::string::npos);
  }
}

namespace {

template <class... Arguments>
int quota_exceeded(Arguments...) {
  errno = EDQUOT;
  return -1;
}

/// Every write of SQLite fails for a quota as long as this lives, with whichever call it was built to write.
class NoQuota {
 public:
  NoQuota() {
    replace("write", reinterpret_cast<sqlite3_syscall_ptr>(quota_exceeded<int, const void*, std::size_t>));
    for (const char* call : {"pwrite", "pwrite64"})
      replace(call, reinterpret_cast<sqlite3_syscall_ptr>(
                        quota_exceeded<int, const void*, std::size_t, std::int64_t>));
  }
  ~NoQuota() {
    for (const auto& [call, before] : before_) vfs_->xSetSystemCall(vfs_, call.c_str(), before);
  }
  NoQuota(const NoQuota&) = delete;
  NoQuota& operator=(const NoQuota&) = delete;

 private:
  void replace(const char* call, sqlite3_syscall_ptr with) {
    if (auto* before = vfs_->xGetSystemCall(vfs_, call)) before_[call] = before;
    if (before_.contains(call)) vfs_->xSetSystemCall(vfs_, call, with);
  }
  sqlite3_vfs* vfs_ = sqlite3_vfs_find(nullptr);
  std::map<std::string, sqlite3_syscall_ptr> before_;
};

}  // namespace

TEST_CASE("store: a quota that is used up is a full disk: read-only, and nothing is lost") {
  CHECK(lack_of(EDQUOT) == Errc::kUnavailable);
  CHECK(disk_error("write x", EDQUOT).code() == Errc::kUnavailable);
  CHECK(disk_error("write x", EIO).code() == Errc::kIo);
  Disk disk;
  disk.submit();
  disk.settle();
  {
    const NoQuota none;
    disk.submit();
    while (disk.store->health().writable) disk.io.run_one();
    CHECK(disk.store->health().why.find("no space left in " + disk.dir) != std::string::npos);
    CHECK(disk.store->durable().events == 1);
  }
  disk.open();
  CHECK(disk.found.jobs.size() == 2);
}

}  // namespace sqlite_store_test
