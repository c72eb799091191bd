// rtraind: the daemon, one binary with two roles, and the care of a head's state.
#include "common/async/run.h"
#include "common/log/log.h"
#include "common/os/file.h"
#include "common/os/startup.h"
#include "daemon/agent/agent.h"
#include "daemon/head/head.h"
#include "daemon/store/fsck.h"
#include "daemon/store/recover.h"
#include "proto/frame/frame.h"

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

namespace {

namespace asio = boost::asio;
namespace po = boost::program_options;
using namespace rtrain;

constexpr int kUsage = 2;

std::string flag_of(std::string field) {
  std::ranges::replace(field, '_', '-');
  return field;
}

/// Settings of a role in order of precedence: flag > RTRAIN_* > file > default. False after saying what is
/// wrong.
template <class Config>
bool read_settings(Config& config, const po::variables_map& flags) {
  auto fields = proto::fields(config);
  std::vector<std::pair<std::string, proto::SpecError>> wrong;
  if (flags.count("config") != 0) {
    const auto path = flags["config"].as<std::string>();
    auto text = os::read_file(path, 1u << 20);
    if (!text) {
      std::cerr << "error: " << text.error().message() << "\n";  // which names the file
      return false;
    }
    auto document = proto::parse_json(*text);
    if (!document) {
      std::cerr << "error: " << path << ": " << document.error().message() << "\n";
      return false;
    }
    for (auto& error : proto::apply_json(fields, *document))
      wrong.emplace_back(path + ": ", std::move(error));
  }
  for (auto& error : proto::apply_environment(fields, [](const char* name) { return std::getenv(name); }))
    wrong.emplace_back("", std::move(error));
  for (auto& field : fields) {
    const auto flag = flag_of(field.name);
    if (flags.count(flag) == 0) continue;
    const std::string& text = flags[flag].template as<std::string>();
    if (auto why = proto::apply_text(field, text); !why.empty())
      wrong.emplace_back("", proto::SpecError{"--" + flag, std::move(why)});
  }
  if constexpr (std::is_same_v<Config, proto::HeadConfig>)
    for (auto& error : proto::check(config)) wrong.emplace_back("", std::move(error));
  for (const auto& [place, error] : wrong) std::cerr << "error: " << place << proto::to_string(error) << "\n";
  return wrong.empty();
}

void print_usage(std::ostream& out) {
  out << "usage: rtraind head  [--config FILE] [--FIELD VALUE]...   schedule jobs and serve the API\n"
         "       rtraind agent [--config FILE] [--FIELD VALUE]...   run the ranks of one node\n"
         "       rtraind fsck STATE_DIR                             look for damage in the state of a head "
         "that does not run\n"
         "       rtraind recover STATE_DIR [--from BACKUP]          make a sound journal out of a broken "
         "one, or of a backup\n"
         "       rtraind --version | rtraind ROLE --help\n\n"
         "examples:\n  rtraind head --config configs/head.json\n  rtraind agent --config configs/agent.json "
         "--head 10.0.0.1:7337 --token-file "
         "token\n";
}

template <class Config>
void print_fields(const char* role) {
  Config config;
  std::cout << "usage: rtraind " << role
            << " [--config FILE] [--FIELD VALUE]...\n\nA flag wins over its variable, that over the file, "
               "that over the default.\n\n";
  for (const auto& field : proto::fields(config)) {
    std::string variable = "RTRAIN_" + field.name;
    std::ranges::transform(variable, variable.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    std::cout << "  --" << flag_of(field.name) << " (" << variable << ", default "
              << proto::dump_json(field.get()) << ")\n      " << field.help << "\n";
  }
}

/// Runs `daemon` until SIGTERM or SIGINT; those that were ignored at the start stay so.
template <class Daemon>
int serve(asio::io_context& io, Daemon& daemon) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  asio::signal_set signals(io);
  for (const int signal : os::not_ignored({SIGTERM, SIGINT})) signals.add(signal);
  signals.async_wait([&](boost::system::error_code ec, int signal) {
    if (ec) return;
    log::info("stopping", {{"signal", std::to_string(signal)}});
    daemon.stop();
  });
  int code = 0;
  asio::co_spawn(io, daemon.async_run(), [&](std::exception_ptr e) {
    signals.cancel();
    if (!e) return;
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& ex) {
      log::error("ended by an error", {{"cause", ex.what()}});
    }
    code = 1;
  });
  async::run_through(io, [](std::exception_ptr escaped) {
    try {
      std::rethrow_exception(escaped);
    } catch (const std::exception& ex) {
      log::error("a bug: a handler ended by an exception, its connection is gone", {{"cause", ex.what()}});
    }
  });
  return code;
}

int report(const Error& error) {
  std::cerr << "error: " << error.message() << "\n";
  if (!error.hint().empty()) std::cerr << "hint:  " << error.hint() << "\n";
  return error.code() == Errc::kInvalidArgument || error.code() == Errc::kUnauthenticated ? kUsage : 1;
}

int run_head(proto::HeadConfig config) {
  log::init("head", log::level_from_string(config.log_level));
  os::raise_file_limit();  // of the head alone: the ranks of an agent would inherit it
  asio::io_context io(1);
  const auto listen = config.listen, api = config.api_listen;
  auto head = head::Head::open(io.get_executor(), std::move(config));
  if (!head) return report(head.error());
  // Port 0 asks for any free one: say which it became.
  const auto shown = [](const std::string& text, std::uint16_t port) {
    return text.ends_with(":0") ? text.substr(0, text.size() - 1) + std::to_string(port) : text;
  };
  log::info("ready",
            {{"cluster", shown(listen, (*head)->cluster_port())}, {"API", shown(api, (*head)->api_port())}});
  return serve(io, **head);
}

int run_agent(proto::AgentConfig config) {
  log::init("agent", log::level_from_string(config.log_level));
  asio::io_context io(1);
  const auto head = config.head;
  auto agent = agent::Agent::open(io.get_executor(), std::move(config));
  if (!agent) return report(agent.error());
  log::info("ready", {{"head", head}});
  return serve(io, **agent);
}

/// 0 sound, 1 problems found or it could not be looked at, 2 usage.
int run_fsck(const std::vector<std::string>& args) {
  if (args.size() != 1 || args[0].starts_with("-")) {
    std::cerr << "usage: rtraind fsck STATE_DIR\n";
    return args.size() == 1 && (args[0] == "--help" || args[0] == "-h") ? 0 : kUsage;
  }
  auto found = store::fsck(args[0]);
  if (!found) return report(found.error());
  for (const auto& line : found->problems) std::cout << line << "\n";
  for (const auto& line : found->notes) std::cout << "note: " << line << "\n";
  std::cout << args[0] << ": " << found->jobs << " jobs";
  if (found->sweeps > 0) std::cout << " and " << found->sweeps << " sweeps";
  std::cout << " with " << found->events << " events, " << found->points << " metric points; "
            << (found->problems.empty() ? "sound" : std::to_string(found->problems.size()) + " problems")
            << "\n";
  if (!found->problems.empty()) std::cerr << "hint:  rtraind recover " << args[0] << "\n";
  return found->problems.empty() ? 0 : 1;
}

/// 0 nothing is lost, 1 it could not be done, 2 usage, 3 done, and something is lost.
int run_recover(const std::vector<std::string>& args) {
  const bool with_backup = args.size() == 3 && args[1] == "--from";
  if ((args.size() != 1 && !with_backup) || args[0].starts_with("-")) {
    std::cerr << "usage: rtraind recover STATE_DIR [--from BACKUP]\n";
    return args.size() == 1 && (args[0] == "--help" || args[0] == "-h") ? 0 : kUsage;
  }
  log::init("recover", log::Level::kWarn);
  auto done = store::recover(args[0], with_backup ? args[2] : "");
  if (!done) return report(done.error());
  for (const auto& line : done->lost) std::cout << "lost: " << line << "\n";
  if (!done->aside.empty()) std::cout << "the old journal is " << done->aside << "\n";
  if (!done->backup.empty()) std::cout << "backup: " << done->backup << "\n";
  std::cout << args[0] << ": " << done->jobs << " jobs, " << done->points
            << " metric points; the next job is " << done->next_id << "\n";
  return done->lost.empty() ? 0 : 3;
}

template <class Config>
int run_role(const char* role, int argc, char** argv, int (*run)(Config)) {
  po::options_description options;
  options.add_options()("help,h", "")("config", po::value<std::string>());
  Config config;
  std::vector<std::string> names{"config", "help"};
  for (const auto& field : proto::fields(config)) {
    names.push_back(flag_of(field.name));
    options.add_options()(names.back().c_str(), po::value<std::string>());
  }
  po::variables_map flags;
  try {
    namespace style = po::command_line_style;
    po::store(po::command_line_parser(argc, argv)
                  .options(options)
                  .style(style::unix_style & ~style::allow_guessing)
                  .positional({})
                  .run(),
              flags);
  } catch (const po::unknown_option& e) {
    std::string name = e.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    const auto near = proto::nearest(name, names);
    std::cerr << "error: rtraind " << role << ": unknown option --" << name
              << (near.empty() ? "" : "; did you mean --" + near + "?") << "\n";
    return kUsage;
  } catch (const po::error& e) {
    std::cerr << "error: rtraind " << role << ": " << e.what() << "\n";
    return kUsage;
  }
  if (flags.count("help") != 0) {
    print_fields<Config>(role);
    return 0;
  }
  if (!read_settings(config, flags)) return kUsage;
  return run(std::move(config));
}

}  // namespace

int main(int argc, char** argv) {
  os::settle_process();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of that write, as a full disk is
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "head") return run_role<proto::HeadConfig>("head", argc - 1, argv + 1, run_head);
  if (role == "agent") return run_role<proto::AgentConfig>("agent", argc - 1, argv + 1, run_agent);
  const std::vector<std::string> rest(argv + std::min(argc, 2), argv + argc);
  if (role == "fsck") return run_fsck(rest);
  if (role == "recover") return run_recover(rest);
  if (role == "--version") {
    std::cout << "rtraind " << RTRAIN_VERSION << ", protocol " << proto::kProtocolVersion << "\n";
    return 0;
  }
  if (role == "--help" || role == "-h" || role == "help") {
    print_usage(std::cout);
    return 0;
  }
  std::cerr << "error: rtraind: expected head, agent, fsck or recover"
            << (role.empty() ? "" : ", found " + role) << "\n\n";
  print_usage(std::cerr);
  return kUsage;
}
