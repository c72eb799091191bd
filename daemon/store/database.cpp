#include "daemon/store/database.h"

#include "daemon/store/disk_error.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::store {

// ---- statements ---------------------------------------------------------------------------------

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement& Statement::bind(std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), ++bound_, value);
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  // A null pointer would bind NULL.
  sqlite3_bind_text64(statement_.get(), ++bound_, text.data() == nullptr ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_null() {
  sqlite3_bind_null(statement_.get(), ++bound_);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  const Error error = database_->failed(code, "");
  reset();
  return error;
}

Result<Done> Statement::run() {
  auto row = step();
  if (!row) return row.error();
  if (*row) reset();
  return ok();
}

void Statement::reset() {
  sqlite3_reset(statement_.get());
  bound_ = 0;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  return {bytes == nullptr ? "" : bytes,
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

// ---- connections --------------------------------------------------------------------------------

void Database::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

namespace {

/// What jobs were given is nobody else's to read: 0600 before there is anything in it, also where an older
/// program made it. SQLite gives the mode of the database to its log.
Result<Done> make_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return disk_error("open " + path, errno);
  }
  ::close(fd);
  for (const char* ending : {"", "-wal", "-shm"}) {
    struct stat info {};
    const auto file = path + ending;
    if (::stat(file.c_str(), &info) != 0 || (info.st_mode & 077) == 0) continue;
    if (::chmod(file.c_str(), 0600) != 0)
      return fail_errno("take the permissions of others from " + file, errno);
  }
  return ok();
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Mode mode) {
  const int flags = mode == Mode::kReadOnly    ? SQLITE_OPEN_READONLY
                    : mode == Mode::kReadWrite ? SQLITE_OPEN_READWRITE
                                               : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  if (mode == Mode::kCreate)
    if (auto ours = make_private(path); !ours) return ours.error();
  sqlite3* db = nullptr;
  // One thread at a time uses a connection: SQLite's own locks are not needed.
  const int code =
      sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<Database> opened(new Database(path, db));
  if (code != SQLITE_OK) return opened->failed(code, "open");
  sqlite3_busy_timeout(db, 10'000);
  // No mmap: a page that cannot be read would be a signal instead of an error.
  if (auto set = opened->execute("PRAGMA mmap_size=0"); !set) return set.error();
  return opened;
}

namespace {
/// The system may have dropped what could not be forced to the disk: this never passes, whatever it was that
/// lacked.
bool is_of_sync(int code) { return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC; }
}  // namespace

Error Database::failed(int code, std::string_view doing) {
  const int primary = code & 0xff;
  const int number = db_ ? sqlite3_system_errno(db_.get()) : 0;
  auto lack = (primary == SQLITE_IOERR && !is_of_sync(code)) || primary == SQLITE_CANTOPEN ? lack_of(number)
                                                                                           : std::nullopt;
  if (primary == SQLITE_FULL) lack = Errc::kUnavailable;
  if (lack)
    trouble_ = *lack == Errc::kLimit ? Trouble::kNoFiles : Trouble::kNoSpace;
  else if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY)
    trouble_ = Trouble::kIo;
  else if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
    trouble_ = Trouble::kCorrupt;
  else
    trouble_ = Trouble::kOther;
  std::string message = path_ + ": ";
  if (!doing.empty()) message += std::string(doing) + ": ";
  message += db_ ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code);
  if (trouble_ == Trouble::kIo && number != 0) message += std::string(" (") + std::strerror(number) + ")";
  return fail(lack.value_or(Errc::kIo), std::move(message));
}

Result<Done> Database::execute(const std::string& sql) {
  errno = 0;
  const int code = sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  const int number = errno;
  if (code == SQLITE_OK) return ok();
  const Error error = failed(code, "");
  // Of a COMMIT SQLite says that a write failed, and not why; for a full disk it has a code of its own, for a
  // quota it has none.
  const auto lack = trouble_ == Trouble::kIo && !is_of_sync(code) ? lack_of(number) : std::nullopt;
  if (!lack) return error;
  trouble_ = *lack == Errc::kLimit ? Trouble::kNoFiles : Trouble::kNoSpace;
  return fail(*lack, error.message() + " (" + std::strerror(number) + ")");
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failed(code, "");
  return Statement(*this, statement);
}

Result<std::int64_t> Database::integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return statement.error();
  auto row = statement->step();
  if (!row) return row.error();
  return *row ? statement->integer(0) : 0;
}

Result<std::string> Database::text(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return statement.error();
  auto row = statement->step();
  if (!row) return row.error();
  return *row ? std::string(statement->text(0)) : std::string();
}

void Database::roll_back() {
  const auto trouble = trouble_;  // of what failed, not of the undoing
  if (sqlite3_get_autocommit(db_.get()) == 0) static_cast<void>(execute("ROLLBACK"));
  trouble_ = trouble;
}

}  // namespace rtrain::store
