// `rtraind recover` that is killed in the middle: the next one begins anew and finds everything.
#include "daemon/store/recover.h"

#include "daemon/store/backup.h"
#include "daemon/store/fsck.h"
#include "daemon/store/schema.h"
#include "daemon/store/segment.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"

#include <filesystem>
#include <fstream>
#include <set>

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace recover_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

/// Calls that change what is on the disk.
const std::set<std::uint64_t> kChanges{
    SYS_rename,  SYS_renameat,  SYS_renameat2, SYS_unlink,    SYS_unlinkat,        SYS_rmdir,   SYS_mkdir,
    SYS_mkdirat, SYS_ftruncate, SYS_fsync,     SYS_fdatasync, SYS_copy_file_range, SYS_sendfile};
/// Of the many writes into the new database, one in so many is such a call.
constexpr int kWrites = 12;

/// Runs recover() in a process of its own, which is killed just before the call number `last` of those (from
/// 0). True: it was; false: it came to its end.
bool recover_until(const std::string& dir, int last) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(store::recover(dir) ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  for (int calls = 0, writes = 0;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
      CHECK(WEXITSTATUS(status) == 0);
      return false;
    }
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    const bool write = info.entry.nr == SYS_write || info.entry.nr == SYS_pwrite64;
    if (write ? ++writes % kWrites != 0 : !kChanges.contains(info.entry.nr)) continue;
    if (calls++ < last) continue;
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, &status, 0) == child);
    return true;
  }
}

/// Jobs of which some are only in the journal's log, and one of which has a metric file that is damaged.
struct Crashed : test::DiskStore {
  static constexpr int kJobs = 5;
  test::TempDir copy;
  std::string dir_after = copy.path().string();

  Crashed() {
    proto::UnixMs now = 1000;
    for (int id = 1; id <= kJobs; ++id) {
      proto::JobSubmitted event{test::command_spec(1, 3), "run", "/runs/run", "ada", {}};
      auto state = core::submitted(JobId(id), ++now, event);
      store->append(JobId(id), {now, event}, state);
      const auto apply = [&](proto::JobEvent change) {
        const proto::StampedEvent stamped{++now, std::move(change)};
        REQUIRE(core::advance(state, stamped).has_value());
        store->append(JobId(id), stamped, state);
      };
      apply(test::placed(1, 1));
      for (int seq = 1; seq <= 20; ++seq)
        store->append(JobId(id), proto::MetricPoint{1, seq, now, {{"loss", 1.0}}, ""});
      apply(test::forked(1, 0));
      settle();
      if (id == 3) REQUIRE(write_backup(dir).has_value());
    }
    // as a head that is killed leaves it
    std::filesystem::copy(dir, dir_after, std::filesystem::copy_options::recursive);
    store.reset();
    std::fstream file(segment_path(dir_after, JobId(2), 0), std::ios::in | std::ios::out);
    file.seekp(300);
    file << "lost";
  }
};

}  // namespace

TEST_CASE("recover: killed before any of its calls it leaves what the next one makes sound") {
  const Crashed crashed;
  int killed = 0;
  for (int last = 0;; ++last) {
    test::TempDir folder;
    const auto dir = folder.path().string();
    std::filesystem::copy(
        crashed.dir_after, dir,
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    if (!recover_until(dir, last)) break;
    ++killed;
    INFO("killed before call " << last);
    const bool in_the_middle = std::filesystem::exists(recovering_folder(dir));
    if (in_the_middle) {
      const auto opened = open_journal(dir, false);
      REQUIRE(opened.has_error());
      CHECK(opened.error().message().find("rtraind recover did not come to its end") != std::string::npos);
    }
    const auto report = store::recover(dir);
    REQUIRE(report.has_value());
    CHECK(report->jobs == Crashed::kJobs);
    const auto looked = fsck(dir);
    REQUIRE(looked.has_value());
    CHECK(looked->problems == std::vector<std::string>{});
    CHECK(looked->jobs == Crashed::kJobs);
    CHECK(looked->events == 3 * Crashed::kJobs);
    CHECK(looked->points >= 20 * (Crashed::kJobs - 1));
    CHECK(report->next_id > Crashed::kJobs);
    CHECK(open_journal(dir, false).has_value());
  }
  CHECK(killed > 30);
}

TEST_CASE("recover: a job whose rows a broken page hides without an error is named as lost") {
  const Crashed crashed;
  const auto& dir = crashed.dir_after;
  {
    // The events of two jobs are gone, and their rows of the table of jobs have numbers that are out of
    // order.
    const auto journal = *Database::open(journal_path(dir), Database::Mode::kReadWrite);
    for (const char* sql : {"DELETE FROM events WHERE job IN (4, 5)",
                            "DELETE FROM segments WHERE job IN (4, 5)", "PRAGMA wal_checkpoint(TRUNCATE)"})
      REQUIRE(journal->execute(sql).has_value());
    const auto root = *journal->integer("SELECT rootpage FROM sqlite_schema WHERE name='jobs'");
    const auto page_bytes = *journal->integer("PRAGMA page_size");
    std::fstream file(journal_path(dir), std::ios::in | std::ios::out | std::ios::binary);
    std::string page(static_cast<std::size_t>(page_bytes), '\0');
    file.seekg((root - 1) * page_bytes);
    file.read(page.data(), page_bytes);
    REQUIRE(page[0] == 0x0d);  // a leaf: there are few jobs
    for (const std::size_t job : {4U, 5U}) {
      const auto pointer = 8 + 2 * (job - 1);
      const auto cell = static_cast<std::size_t>(static_cast<unsigned char>(page[pointer]) * 256 +
                                                 static_cast<unsigned char>(page[pointer + 1]));
      REQUIRE(page[cell + 1] == static_cast<char>(job));  // the row's number, behind its length of one byte
      page[cell + 1] = 0x7f;
    }
    file.seekp((root - 1) * page_bytes);
    file.write(page.data(), page_bytes);
  }
  const auto report = store::recover(dir);
  REQUIRE(report.has_value());
  CHECK(report->jobs == 3);
  std::string lost;
  for (const auto& line : report->lost) lost += line + "\n";
  INFO(lost);
  CHECK(lost.find("job 5: nothing of it can be read\n") != std::string::npos);
  CHECK(lost.find("job 4: nothing of it can be read\n") != std::string::npos);
  CHECK(lost.find("127") == std::string::npos);
}

}  // namespace recover_test
