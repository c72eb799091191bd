// rtraind: the daemon, one binary with two roles.
#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/agent/agent.h"
#include "daemon/head/head.h"
#include "proto/frame/frame.h"

#include <boost/asio.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <sys/resource.h>

namespace {

namespace asio = boost::asio;
namespace po = boost::program_options;
using namespace rtrain;

constexpr int kUsage = 2;

std::string flag_of(std::string field) {
  std::ranges::replace(field, '_', '-');
  return field;
}

/// Settings of a role in order of precedence: flag > RTRAIN_* > file > default. False after saying what is wrong.
template <class Config>
bool read_settings(Config& config, const po::variables_map& flags) {
  auto fields = proto::fields(config);
  std::vector<std::pair<std::string, proto::SpecError>> wrong;
  if (flags.count("config") != 0) {
    const auto path = flags["config"].as<std::string>();
    auto text = os::read_file(path, 1u << 20);
    auto document = text ? proto::parse_json(*text) : Result<proto::Json>(text.error());
    if (!document) {
      std::cerr << "error: " << path << ": " << document.error().message() << "\n";
      return false;
    }
    for (auto& error : proto::apply_json(fields, *document)) wrong.emplace_back(path + ": ", std::move(error));
  }
  for (auto& error : proto::apply_environment(fields, [](const char* name) { return std::getenv(name); })) wrong.emplace_back("", std::move(error));
  for (auto& field : fields) {
    const auto flag = flag_of(field.name);
    if (flags.count(flag) == 0) continue;
    const std::string& text = flags[flag].template as<std::string>();
    if (auto why = proto::apply_text(field, text); !why.empty()) wrong.emplace_back("", proto::SpecError{"--" + flag, std::move(why)});
  }
  if constexpr (std::is_same_v<Config, proto::HeadConfig>)
    for (auto& error : proto::check(config)) wrong.emplace_back("", std::move(error));
  for (const auto& [place, error] : wrong) std::cerr << "error: " << place << proto::to_string(error) << "\n";
  return wrong.empty();
}

void print_usage(std::ostream& out) {
  out << "usage: rtraind head  [--config FILE] [--FIELD VALUE]...   schedule jobs and serve the API\n"
         "       rtraind agent [--config FILE] [--FIELD VALUE]...   run the ranks of one node\n"
         "       rtraind --version | rtraind ROLE --help\n\n"
         "examples:\n  rtraind head --config configs/head.json\n  rtraind agent --config configs/agent.json --head 10.0.0.1:7337 --token-file "
         "token\n";
}

template <class Config>
void print_fields(const char* role) {
  Config config;
  std::cout << "usage: rtraind " << role
            << " [--config FILE] [--FIELD VALUE]...\n\nA flag wins over its variable, that over the file, that over the default.\n\n";
  for (const auto& field : proto::fields(config)) {
    std::string variable = "RTRAIN_" + field.name;
    std::ranges::transform(variable, variable.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    std::cout << "  --" << flag_of(field.name) << " (" << variable << ", default " << proto::dump_json(field.get()) << ")\n      " << field.help
              << "\n";
  }
}

/// Runs `daemon` until SIGTERM or SIGINT.
template <class Daemon>
int serve(asio::io_context& io, Daemon& daemon) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  asio::signal_set signals(io, SIGTERM, SIGINT);
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
  io.run();
  return code;
}

int report(const Error& error) {
  std::cerr << "error: " << error.message() << "\n";
  if (!error.hint().empty()) std::cerr << "hint:  " << error.hint() << "\n";
  return error.code() == Errc::kInvalidArgument || error.code() == Errc::kUnauthenticated ? kUsage : 1;
}

/// The usual soft limit of 1,024 open files is less than connections_max; the hard limit is what the operator allows.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run_head(proto::HeadConfig config) {
  log::init("head", log::level_from_string(config.log_level));
  raise_file_limit();  // of the head alone: the ranks of an agent would inherit it
  asio::io_context io(1);
  const auto listen = config.listen, api = config.api_listen;
  auto head = head::Head::open(io.get_executor(), std::move(config));
  if (!head) return report(head.error());
  // Port 0 asks for any free one: say which it became.
  const auto shown = [](const std::string& text, std::uint16_t port) {
    return text.ends_with(":0") ? text.substr(0, text.size() - 1) + std::to_string(port) : text;
  };
  log::info("ready", {{"cluster", shown(listen, (*head)->cluster_port())}, {"API", shown(api, (*head)->api_port())}});
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
    po::store(po::command_line_parser(argc, argv).options(options).style(style::unix_style & ~style::allow_guessing).positional({}).run(), flags);
  } catch (const po::unknown_option& e) {
    std::string name = e.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    const auto near = proto::nearest(name, names);
    std::cerr << "error: rtraind " << role << ": unknown option --" << name << (near.empty() ? "" : "; did you mean --" + near + "?") << "\n";
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
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "head") return run_role<proto::HeadConfig>("head", argc - 1, argv + 1, run_head);
  if (role == "agent") return run_role<proto::AgentConfig>("agent", argc - 1, argv + 1, run_agent);
  if (role == "--version") {
    std::cout << "rtraind " << RTRAIN_VERSION << ", protocol " << proto::kProtocolVersion << "\n";
    return 0;
  }
  if (role == "--help" || role == "-h" || role == "help") {
    print_usage(std::cout);
    return 0;
  }
  std::cerr << "error: rtraind: expected head or agent" << (role.empty() ? "" : ", found " + role) << "\n\n";
  print_usage(std::cerr);
  return kUsage;
}
