// Plays a stimulus (flows/stimulus.py) against the core and compares what comes out, beat by beat.
//
// Files in the working directory: script.txt (register accesses), input.hex (beats in), expected.hex (beats out).
// Written there: output.hex (beats out) and registers.txt (what the script read).
//
// Plusargs: +stall=P  (percent of cycles in which the input waits, and in which the output isn't taken; default 0)
//           +seed=S   (of the stalls)
//           +limit=C  (cycles after which a run counts as hung; default: none)
//           +waves=FILE
`timescale 1ns / 1ps

module sanger_testbench;
    parameter STREAM_BITS = 128;
    parameter ADDRESS_BITS = 12;

    reg clk = 0;
    reg reset = 1;
    always #5 clk = !clk;

    reg [STREAM_BITS-1:0] s_axis_tdata = 0;
    reg s_axis_tvalid = 0, s_axis_tlast = 0;
    wire s_axis_tready;
    wire [STREAM_BITS-1:0] m_axis_tdata;
    wire m_axis_tvalid, m_axis_tlast, m_axis_tuser;
    reg m_axis_tready = 0;
    reg [ADDRESS_BITS-1:0] awaddr = 0, araddr = 0;
    reg [31:0] wdata = 0;
    reg awvalid = 0, wvalid = 0, arvalid = 0;
    wire awready, wready, arready, bvalid, rvalid;
    wire [1:0] bresp, rresp;
    wire [31:0] rdata;

    sanger_core core (
        .clk(clk), .reset(reset),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .s_axis_tlast(s_axis_tlast),
        .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .m_axis_tlast(m_axis_tlast), .m_axis_tuser(m_axis_tuser),
        .s_axil_awaddr(awaddr), .s_axil_awvalid(awvalid), .s_axil_awready(awready),
        .s_axil_wdata(wdata), .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
        .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
        .s_axil_araddr(araddr), .s_axil_arvalid(arvalid), .s_axil_arready(arready),
        .s_axil_rdata(rdata), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(1'b1)
    );

    integer script, inputs, expected, outputs, registers;
    integer stall = 0, seed = 1, limit = 0, got;
    integer in_seed, out_seed;
    integer beats_out = 0, errors = 0, script_errors = 0, cycle = 0;
    reg input_end = 0;
    reg [8*256-1:0] waves;

    initial begin
        got = $value$plusargs("stall=%d", stall);
        got = $value$plusargs("seed=%d", seed);
        got = $value$plusargs("limit=%d", limit);
        in_seed = seed;
        out_seed = seed + 1;
        if ($value$plusargs("waves=%s", waves)) begin
            $dumpfile(waves);
            $dumpvars(0, sanger_testbench);
        end
        script = $fopen("script.txt", "r");
        inputs = $fopen("input.hex", "r");
        expected = $fopen("expected.hex", "r");
        if (script == 0 || inputs == 0 || expected == 0)
            $fatal(1, "script.txt, input.hex and expected.hex must be in the working directory");
        outputs = $fopen("output.hex", "w");
        registers = $fopen("registers.txt", "w");
    end

    // Beats in. A beat that is offered stays until it is taken.
    reg [7:0] in_flags;
    reg [STREAM_BITS-1:0] in_data;
    always @(posedge clk) begin
        if (s_axis_tvalid && s_axis_tready) s_axis_tvalid <= 0;
        if (!reset && !input_end && (!s_axis_tvalid || s_axis_tready) && $unsigned($random(in_seed)) % 100 >= stall) begin
            if ($fscanf(inputs, "%h %h\n", in_flags, in_data) == 2) begin
                s_axis_tvalid <= 1;
                s_axis_tlast <= in_flags[0];
                s_axis_tdata <= in_data;
            end else input_end <= 1;
        end
    end

    // Beats out, compared with what is expected.
    reg [7:0] out_flags;
    reg [STREAM_BITS-1:0] out_data;
    always @(posedge clk) begin
        m_axis_tready <= $unsigned($random(out_seed)) % 100 >= stall;
        if (m_axis_tvalid && m_axis_tready) begin
            $fwrite(outputs, "%1b%1b %h\n", m_axis_tuser, m_axis_tlast, m_axis_tdata);
            beats_out <= beats_out + 1;
            if ($fscanf(expected, "%h %h\n", out_flags, out_data) != 2) begin
                errors <= errors + 1;
                if (errors < 10) $display("cycle %0d: beat %0d came, but no more were expected", cycle, beats_out);
            end else if ({out_flags[4], out_flags[0], out_data} !== {m_axis_tuser, m_axis_tlast, m_axis_tdata}) begin
                errors <= errors + 1;
                if (errors < 10) $display("cycle %0d: beat %0d is %b %b %h, but must be %b %b %h", cycle, beats_out,
                    m_axis_tuser, m_axis_tlast, m_axis_tdata, out_flags[4], out_flags[0], out_data);
            end
            if (beats_out % 1024 == 1023) begin
                $display("%0d beats out after %0d cycles", beats_out + 1, cycle);
                $fflush(outputs);
            end
        end
        cycle <= cycle + 1;
        if (limit != 0 && cycle == limit) $fatal(1, "hung: %0d beats out after %0d cycles", beats_out, cycle);
    end

    // The script of register accesses, at the falling edge: what is seen there holds until the next rising edge.
    reg [7:0] operation;
    reg [31:0] address, data, value;
    reg done = 0;

    task write_register(input [31:0] at, input [31:0] word);
        reg address_taken, data_taken;
        begin
            awaddr = at[ADDRESS_BITS-1:0];
            wdata = word;
            awvalid = 1;
            wvalid = 1;
            while (awvalid || wvalid) begin
                address_taken = awvalid && awready;
                data_taken = wvalid && wready;
                @(negedge clk);
                if (address_taken) awvalid = 0;
                if (data_taken) wvalid = 0;
            end
            while (!bvalid) @(negedge clk);
            if (bresp != 0) begin
                script_errors = script_errors + 1;
                $display("write of register %h was answered %b", at, bresp);
            end
            @(negedge clk);
        end
    endtask

    task read_register(input [31:0] at);
        begin
            araddr = at[ADDRESS_BITS-1:0];
            arvalid = 1;
            while (!arready) @(negedge clk);
            @(negedge clk);
            arvalid = 0;
            while (!rvalid) @(negedge clk);
            value = rdata;
            @(negedge clk);
        end
    endtask

    initial begin
        repeat (4) @(negedge clk);
        reset = 0;
        @(negedge clk);
        while (!done) begin
            if ($fscanf(script, "%c %h %h\n", operation, address, data) != 3)
                $fatal(1, "script.txt ends without the line that ends it");
            case (operation)
                "w": write_register(address, data);
                "p": begin
                    read_register(address);
                    while ((value & data) != 0) read_register(address);
                end
                "r": begin
                    read_register(address);
                    $fwrite(registers, "%h %h\n", address, value);
                end
                "d": while (beats_out < data) @(negedge clk);
                "e": done = 1;
                default: $fatal(1, "script.txt has an operation that isn't w, p, r, d or e");
            endcase
        end
        if ($fscanf(expected, "%h %h\n", out_flags, out_data) == 2) begin
            script_errors = script_errors + 1;
            $display("the core ended after %0d beats, but more were expected", beats_out);
        end
        $fclose(outputs);
        $fclose(registers);
        if (errors + script_errors != 0)
            $fatal(1, "FAIL: %0d differences from the golden model in %0d beats", errors + script_errors, beats_out);
        $display("PASS: %0d beats equal to the golden model's, %0d cycles", beats_out, cycle);
        $finish;
    end
endmodule
