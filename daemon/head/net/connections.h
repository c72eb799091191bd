// Which connections are open, and who has to go when there is no room for one more. No sockets in here.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace rtrain::head {

/// The connections of both listeners. Agents go first: for an agent any user may have to go. A stranger, who
/// has not shown yet that he belongs here, goes before everybody else once he has had kPatience, and among
/// strangers the one that has been there longest of the address that has the most: who comes with a purpose
/// is through with that in milliseconds, who fills the head with silent connections only closes his own. As
/// long as all strangers are new, the next one waits outside.
/// @thread the head's.  @lifetime by shared_ptr; each place keeps one.
class Connections : public std::enable_shared_from_this<Connections> {
 public:
  enum class Kind { kAgent, kUser };
  /// Closes the connection; its place is given back later, when whoever serves it has noticed.
  using Close = std::function<void()>;
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kPatience{250};

  explicit Connections(std::size_t max) : max_(max) {}
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  /// One open connection; given back when it is destroyed.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept = default;
    Place& operator=(Place&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(id_, other.id_);
      return *this;
    }
    ~Place();
    explicit operator bool() const { return owner_ != nullptr; }
    /// A hello or a request was taken: no stranger any more. A user is busy until idle().
    void known();
    /// Between two requests.
    void idle();

   private:
    friend class Connections;
    Place(std::shared_ptr<Connections> owner, std::uint64_t id) : owner_(std::move(owner)), id_(id) {}
    std::shared_ptr<Connections> owner_;
    std::uint64_t id_ = 0;
  };

  enum class Room { kYes, kLater, kNo };
  /// Whether a newcomer would be admitted: kLater, when strangers have had their time; kNo: nobody is there
  /// who could go.
  [[nodiscard]] Room room(Kind kind, Time now) const;
  /// A newcomer, for whom another may have been closed. An empty place: there is no room.
  [[nodiscard]] Place admit(Kind kind, std::string peer, Time now, Close close);
  /// Closes a stranger who has had his time, or a user between two requests. False: there is none.
  bool make_room(Time now);
  [[nodiscard]] bool has_strangers() const { return !strangers_.empty(); }
  /// Closes everything.
  void close_all();
  /// Those that were closed for others are not counted.
  [[nodiscard]] std::size_t size() const { return connections_.size() - closed_; }
  [[nodiscard]] std::size_t max() const { return max_; }

 private:
  enum class Standing { kStranger, kIdle, kBusy };
  struct Connection {
    Kind kind;
    std::string peer;
    Close close;
    Time admitted;
    Standing standing = Standing::kStranger;
    std::uint64_t since = 0;  ///< counts changes of standing: the lower, the longer ago
    bool closed = false;
  };
  void stand(std::uint64_t id, Standing standing);
  void leave(std::uint64_t id);
  void close(Connection& connection);
  void unlist(const Connection& connection);
  /// 0: none.
  [[nodiscard]] std::uint64_t longest_stranger(Time now) const;
  [[nodiscard]] std::uint64_t longest_user(Standing standing) const;

  std::size_t max_, closed_ = 0;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Connection> connections_;
  std::map<std::string, std::map<std::uint64_t, std::uint64_t>> strangers_;  ///< by peer: since -> connection
  std::map<std::uint64_t, std::uint64_t> idle_, busy_;                       ///< users: since -> connection
};

}  // namespace rtrain::head
