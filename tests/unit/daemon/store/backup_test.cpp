// Which backup is the newest, whatever clocks said when they were made.
#include "daemon/store/backup.h"

#include "daemon/store/recover.h"
#include "daemon/store/schema.h"
#include "tests/support/disk_store.h"
#include "tests/support/jobs.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace backup_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

struct Disk : test::DiskStore {
  void submit() {
    const auto id = store->next_job_id();
    proto::JobSubmitted event{test::command_spec(), "run", "/runs/run", "ada", {}};
    store->append(id, {1000, event}, core::submitted(id, 1000, event));
    settle();
    open();
  }
  /// A backup as an older head named it, whose clock was ten years ahead.
  std::string of_the_future() {
    std::filesystem::create_directories(backup_folder(dir));
    auto path = backup_folder(dir) + "/journal-2036-01-01_00-00-00.000.db";
    std::filesystem::copy_file(journal_path(dir), path);
    return path;
  }
};

}  // namespace

TEST_CASE("backup: the newest is the one that was made last, and it is never the one that goes", "[F43]") {
  Disk disk;
  const auto future = disk.of_the_future();
  std::vector<std::string> made;
  for (int i = 0; i < 12; ++i) {
    auto path = write_backup(disk.dir);
    REQUIRE(path.has_value());
    made.push_back(*path);
  }
  std::ranges::reverse(made);
  made.push_back(future);
  CHECK(backups(disk.dir) == made);
  drop_old_backups(disk.dir, 2);
  made.resize(2);
  CHECK(backups(disk.dir) == made);
  drop_old_backups(disk.dir, 1);
  made.resize(1);
  CHECK(backups(disk.dir) == made);
  CHECK(*write_backup(disk.dir) > made[0]);  // numbers go on; names sort as they do
}

TEST_CASE("backup: recover takes the one that was made last", "[F43]") {
  Disk disk;
  disk.of_the_future();  // of before the job
  disk.submit();
  const auto made = write_backup(disk.dir);
  REQUIRE(made.has_value());
  disk.store.reset();
  std::filesystem::remove(journal_path(disk.dir));
  std::filesystem::remove(journal_path(disk.dir) + "-wal");
  const auto report = recover(disk.dir);
  REQUIRE(report.has_value());
  CHECK(report->backup == *made);
  CHECK(report->jobs == 1);
}

TEST_CASE("store: what is in the journal and its backups is nobody else's to read", "[F44]") {
  const auto before = ::umask(022);
  Disk disk;
  disk.submit();
  REQUIRE(write_backup(disk.dir).has_value());
  ::umask(before);
  const auto open_to_others = [&] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(disk.dir)) {
      struct stat info {};
      REQUIRE(::lstat(entry.path().c_str(), &info) == 0);
      if ((info.st_mode & 077) != 0) found.push_back(entry.path().string());
    }
    return found;
  };
  CHECK(open_to_others() == std::vector<std::string>{});
  // An older head left it readable.
  disk.store.reset();
  REQUIRE(::chmod(journal_path(disk.dir).c_str(), 0644) == 0);
  disk.open();
  CHECK(open_to_others() == std::vector<std::string>{});
}

}  // namespace backup_test
